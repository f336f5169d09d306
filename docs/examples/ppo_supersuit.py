"""One policy for all seats, trained by PPO in the manner of CleanRL on SuperSuit's vector environments.

    pip install supersuit==3.11.0 tinyscaler==1.2.8
    python docs/examples/ppo_supersuit.py --updates 50

Every seat of every game is one row of a batch. A seat that is asked nothing has one legal act, so its row is masked to
it. Rewards come at the end of a game alone.
"""

from __future__ import annotations

import argparse
import sys
import warnings

import numpy as np
import supersuit
import torch
from torch import nn
from torch.distributions import Categorical

from games import werewolf_v0

Batch = dict[str, np.ndarray]


class Policy(nn.Module):
    """Two heads over the features of one seat."""

    def __init__(self, n_features: int, n_acts: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_features, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.acts, self.value = nn.Linear(64, n_acts), nn.Linear(64, 1)

    def forward(self, seen: torch.Tensor, mask: torch.Tensor) -> tuple[Categorical, torch.Tensor]:
        """The distribution over legal acts (n_rows, n_acts) and the value (n_rows,)."""
        hidden = self.body(seen)
        logits = self.acts(hidden).masked_fill(mask == 0, -1e9)
        return Categorical(logits=logits), self.value(hidden).squeeze(-1)


def make_envs(n_games: int, preset: str = "classic-7") -> supersuit.vector.ConcatVecEnv:
    """`n_games` games side by side: n_games * n_seats rows."""
    game = werewolf_v0.parallel_env(preset=preset, text=False)
    rows = supersuit.pettingzoo_env_to_vec_env_v1(game)
    return supersuit.concat_vec_envs_v1(rows, n_games, num_cpus=0, base_class="gymnasium")


def train(updates: int, n_games: int = 2, n_steps: int = 64, seed: int = 0) -> list[float]:
    """The mean reward of the steps of each update."""
    torch.manual_seed(seed)
    envs = make_envs(n_games)
    seen, _ = envs.reset(seed=seed)
    policy = Policy(seen["observation"].shape[1], envs.action_space.n)
    optimiser = torch.optim.Adam(policy.parameters(), lr=3e-4)
    means = []
    for _ in range(updates):
        steps = []
        for _ in range(n_steps):
            x, mask = (
                torch.tensor(seen["observation"]),
                torch.tensor(seen["action_mask"]),
            )  # copies: envs reuse them
            with torch.no_grad():
                acts, value = policy(x, mask)
                act = acts.sample()
            seen, reward, ended, cut, _ = envs.step(act.numpy())
            steps.append(
                (
                    x,
                    mask,
                    act,
                    acts.log_prob(act),
                    value,
                    torch.tensor(reward, dtype=torch.float32),
                    torch.tensor(np.logical_or(ended, cut), dtype=torch.float32),
                )
            )
        x, mask, act, log_prob, value, reward, ended = (
            torch.stack(part) for part in zip(*steps, strict=True)
        )
        returns, after = torch.zeros_like(reward), value[-1]
        for t in reversed(range(n_steps)):
            after = reward[t] + 0.99 * after * (1 - ended[t])
            returns[t] = after
        advantage = (returns - value).flatten()
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        for _ in range(4):
            acts, now = policy(x.flatten(0, 1), mask.flatten(0, 1))
            ratio = (acts.log_prob(act.flatten()) - log_prob.flatten()).exp()
            gain = torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
            loss = -gain + 0.5 * (now - returns.flatten()).square().mean() - 0.01 * acts.entropy().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        means.append(float(reward.mean()))
    return means


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--updates", type=int, default=50)
    warnings.simplefilter("ignore")
    sys.stdout.write(f"{train(parser.parse_args().updates)}\n")

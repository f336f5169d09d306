"""One policy for all seats by policy gradients on TorchRL's own environment, rollouts and distributions.

    pip install torchrl==0.14.1 tensordict==0.15.3 pyvers
    python docs/examples/torchrl_policy.py --updates 50

The seats are one group of agents, so every tensor has a dimension of seats: observation (n_steps, n_seats, n_features),
action (n_steps, n_seats), reward (n_steps, n_seats, 1). Rewards come at the end of a game alone; `mask` is False for
seats that have left it.
"""

from __future__ import annotations

import argparse
import sys

import torch
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.envs.libs.pettingzoo import PettingZooWrapper
from torchrl.modules import MaskedCategorical, ProbabilisticActor

from games import werewolf_v0

GROUP = "players"


def make_env(preset: str = "classic-7") -> PettingZooWrapper:
    """A game whose seats are one group."""
    game = werewolf_v0.parallel_env(preset=preset, text=False)
    seats = {GROUP: list(game.possible_agents)}
    return PettingZooWrapper(
        game, group_map=seats, use_mask=True, categorical_actions=True, done_on_any=False
    )


def make_actor(env: PettingZooWrapper, width: int = 64) -> ProbabilisticActor:
    """A distribution over each seat's legal acts."""
    n_features = env.observation_spec[GROUP, "observation", "observation"].shape[-1]
    n_acts = env.full_action_spec[GROUP, "action"].space.n
    body = nn.Sequential(nn.Linear(n_features, width), nn.Tanh(), nn.Linear(width, n_acts))
    logits = TensorDictModule(body, [(GROUP, "observation", "observation")], [(GROUP, "logits")])
    return ProbabilisticActor(
        logits,
        in_keys={"logits": (GROUP, "logits"), "mask": (GROUP, "action_mask")},
        out_keys=[(GROUP, "action")],
        distribution_class=MaskedCategorical,
        return_log_prob=True,
        log_prob_key=(GROUP, "log_prob"),
    )


def train(updates: int, games: int = 2, seed: int = 0, max_steps: int = 400) -> list[float]:
    """The mean reward a seat and game of each update."""
    torch.manual_seed(seed)
    env = make_env()
    env.set_seed(seed)
    actor = make_actor(env)
    optimiser = torch.optim.Adam(actor.parameters(), lr=1e-3)
    means = []
    for _ in range(updates):
        loss, total = torch.zeros(()), 0.0
        for _ in range(games):
            played = env.rollout(max_steps, actor)
            won = played["next", GROUP, "reward"].sum(dim=0).squeeze(-1)  # (n_seats,)
            chosen = actor.get_dist(played).log_prob(played[GROUP, "action"])  # (n_steps, n_seats)
            loss = loss - (chosen * played[GROUP, "mask"] * won).sum()
            total += float(won.mean())
        optimiser.zero_grad()
        (loss / games).backward()
        optimiser.step()
        means.append(total / games)
    return means


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=20)
    sys.stdout.writelines(f"{i}: {mean:+.3f}\n" for i, mean in enumerate(train(parser.parse_args().updates)))

"""vLLM's server as a program, `python -m agents.backends.openai.vllm_server` with vLLM's flags; it starts sooner so.

The engine runs in a process of its own, which imports this module too (as `__mp_main__`).
"""

from __future__ import annotations

from agents.models.lean import lean_imports

if __name__ in ("__main__", "__mp_main__"):
    with lean_imports():
        import vllm.v1.engine.core  # noqa: F401

if __name__ == "__main__":
    with lean_imports():
        from vllm.entrypoints.launchers.api_server.entry import main

    main()

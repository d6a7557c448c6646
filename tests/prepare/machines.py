"""How state machines are run: always the same examples, or other ones by hand."""

import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def run_machine(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    """Run so many examples, always the same; MACHINE_EXAMPLES=1000 looks for others."""
    wanted = os.environ.get("MACHINE_EXAMPLES")
    few = settings(
        max_examples=int(wanted or examples),
        derandomize=not wanted,
        stateful_step_count=steps,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=few)

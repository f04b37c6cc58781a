"""What verifiers finds under the taskset id ``custodes_gaming``; see :mod:`custodes.gaming.integrations.verifiers_taskset`."""

from custodes.gaming.integrations.verifiers_taskset import CurriculumHarness, CurriculumTaskset

__all__ = ["CurriculumHarness", "CurriculumTaskset"]

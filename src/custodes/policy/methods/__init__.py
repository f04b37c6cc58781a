"""How a policy is tuned on examples, one method a file."""

from custodes.policy.methods.dpo import Dpo
from custodes.policy.methods.ipo import Ipo
from custodes.policy.methods.kto import Kto
from custodes.policy.methods.sft import Sft

__all__ = ["Dpo", "Ipo", "Kto", "Sft"]

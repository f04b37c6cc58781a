"""How a policy is tuned on examples, one method a file."""

from custodes.policy.methods.conditional import Conditional
from custodes.policy.methods.dpo import Dpo
from custodes.policy.methods.filter import Filter
from custodes.policy.methods.ipo import Ipo
from custodes.policy.methods.kto import Kto
from custodes.policy.methods.mle import Mle
from custodes.policy.methods.sft import Sft

__all__ = ["Conditional", "Dpo", "Filter", "Ipo", "Kto", "Mle", "Sft"]

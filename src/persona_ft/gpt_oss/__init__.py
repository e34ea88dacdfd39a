"""gpt-oss, and the names that annotations have for its parts."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig as Config
    from transformers import PreTrainedModel as Model
    from transformers import PreTrainedTokenizerBase as Tokenizer
else:  # importing transformers takes seconds
    Config = Model = Tokenizer = Any

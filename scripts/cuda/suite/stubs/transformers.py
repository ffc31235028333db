"""A stand-in for rehearsals."""
from torch import Anything

BertConfig = BertForSequenceClassification = LlamaConfig = LlamaForCausalLM = Anything()

"""A stand-in for rehearsals."""
from torch import Anything

models = Anything()

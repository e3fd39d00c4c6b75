"""How Hypothesis searches: without a clock, for the machine is shared with servers."""

from hypothesis import settings

settings.register_profile("project", deadline=None, database=None)
settings.load_profile("project")

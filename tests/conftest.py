"""What holds for all tests: none of them asserts how long something takes, hypothesis neither."""

from hypothesis import settings

settings.register_profile("untimed", settings.default, deadline=None)
settings.load_profile("untimed")

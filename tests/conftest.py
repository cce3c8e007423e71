"""The plugins of the test bench; every fixture lives in one of these files."""

pytest_plugins = [
    "tests.fix_tools",
    "tests.fix_pg",
    "tests.fix_howdah",
    "tests.fix_middlebox",
    "tests.fix_scene",
    "tests.fix_mutation",
    "tests.fix_browser",
]

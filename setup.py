"""The repository's root is the package `memlake`: its folders are listed here, as setuptools finds packages only below
a folder of that name. See docs/decisions/package.md."""

from setuptools import find_packages, setup

ROOMS = find_packages(include=["compute*", "ingest*", "queries*", "reports*", "studies*", "warehouse*"])
setup(
    packages=["memlake", *(f"memlake.{room}" for room in ROOMS)],
    package_dir={"memlake": "."},
    script_name="setup.py",  # setuptools leaves it out of the package, where it is told
)

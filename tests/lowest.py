"""Prints what pip is to install for the base and its tests: the lowest version of each library."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
bounds = [line for line in project["project"]["dependencies"] if ">=" in line]
exact = [line.replace(">=", "==") for line in bounds]  # of tzdata the newest knows most
sys.stdout.write("\n".join([*exact, *project["dependency-groups"]["base-test"], ""]))

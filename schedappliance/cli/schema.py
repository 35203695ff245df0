"""`schedappliance schema`: the JSON Schema of the appliance file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from schedappliance.cli.arguments import parser
from schedappliance.cli.errors import OK, USAGE
from schedappliance.model.appliance_file import json_schema

DESCRIPTION = """\
Print the JSON Schema of appliance.yaml. Editors complete and check the file
with it."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    return parser("schema", DESCRIPTION, {OK: "printed", USAGE: "wrong usage"}).parse_args(arguments)


def run(_options: argparse.Namespace) -> int:
    print(json.dumps(json_schema(), indent=2))
    return OK

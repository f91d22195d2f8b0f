"""What every command's help has: examples, a place in the list, and all that is missing told at once."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperCommand

EXAMPLES: dict[str, tuple[str, ...]] = {
    "check": ("ricenet check data/mine",),
    "cohort add": (
        "ricenet cohort add data/mine",
        "ricenet cohort add ../scans/site-a --name mine",
        "ricenet cohort add ../scans/site-b --name mine --mapping mapping.json",
    ),
    "cohort summary": ("ricenet cohort summary data/mine --json",),
    "compare": (
        "ricenet compare dose post_op+dose",
        "ricenet compare dose models:/rice-net-dose@champion --plot compared.png",
    ),
    "doctor": ("ricenet doctor",),
    "explain": ("ricenet explain sub-001 sub-002 --set post_op+dose", "ricenet explain --cohort"),
    "export bundle": (
        "ricenet export bundle dose rice_net",
        "ricenet export bundle dose rice_net --version 2",
    ),
    "export results": ("ricenet export results results.xlsx", "ricenet export results tables"),
    "export study": (
        "ricenet export study post_op+dose --out study.zip",
        "ricenet export study post_op+dose --plan plan.json --out study.zip",
    ),
    "import burdenko": ("ricenet import burdenko ../burdenko ../burdenko/clinical.csv data/burdenko",),
    "import cfb-gbm": ("ricenet import cfb-gbm ../cfb-gbm ../cfb-gbm/tables data/cfb-gbm",),
    "import dicom": (
        "ricenet import dicom ../export data/mine --map ../private/map.csv",
        "ricenet import dicom ../export data/mine --map ../map.csv --clinical ../clinical.csv",
    ),
    "import dicomweb": (
        "ricenet import dicomweb https://pacs.example.org/dicom-web --patients ../private/patients.csv",
    ),
    "init": ("ricenet init rice-study",),
    "open": ("ricenet open report", "ricenet open ui"),
    "params show": ("ricenet params show",),
    "params use": ("ricenet params use small_cohort",),
    "phantom": (
        "ricenet phantom data/practice --subjects 12",
        "ricenet phantom ../export --dicom",
    ),
    "predict": (
        "ricenet predict --volume post_op=a.nii.gz --volume event=b.nii.gz --volume dose=rt",
        "ricenet predict --post-op post_op.nii.gz --event event.nii.gz --dose rt --prescription 60",
        "ricenet predict --post-op post_op --event event --dose rt --dicom-out ../results",
    ),
    "predict-cohort": ("ricenet predict-cohort data/new --output predictions.tsv",),
    "promote": ("ricenet promote best", "ricenet promote post_op+dose --version 2"),
    "send": ("ricenet send ../results/5f2c0e https://pacs.example.org/dicom-web",),
    "serve": ("ricenet serve --port 8741",),
    "status": ("ricenet status", "ricenet status --fast"),
    "store gc": ("ricenet store gc --dry-run",),
    "store share": ("ricenet store share",),
    "store times": ("ricenet store times",),
    "tracking backup": ("ricenet tracking backup ../backups/today",),
    "tracking migrate": ("ricenet tracking migrate --dry-run",),
    "tracking restore": ("ricenet tracking restore ../backups/today",),
    "tracking start": ("ricenet tracking start --allowed-host mlflow.example.org",),
    "upgrade": ("ricenet upgrade", "ricenet upgrade --yes"),
    "ui": ("ricenet ui --port 5001",),
    "validate": (
        "ricenet validate study.zip data/mine",
        "ricenet validate study.zip data/mine --also subgroup=sex:F,M --out ../second",
    ),
    "validation add": ("ricenet validation add ../result.json --name 'site B'",),
}
"""By a command's words, what may be typed as it stands."""


PANELS = {
    "Patients": ("import", "check", "cohort", "phantom"),
    "The project": ("init", "upgrade", "status", "params", "doctor", "store", "tracking"),
    "Results": ("open", "ui", "compare", "explain", "export"),
    "Models": ("promote", "predict", "predict-cohort", "send", "serve", "validate", "validation"),
}
"""Commands and groups by the panel of the list in which they stand."""


class MissingParameters(typer.BadParameter):
    """Wrong usage, in words that need no prefix."""

    def format_message(self) -> str:
        """The message itself."""
        return self.message


class Command(TyperCommand):
    """A command that names all arguments and options that are missing, with their meaning."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Raise MissingParameters: something required is not given."""
        given = self.make_parser(ctx).parse_args(args=list(args))[0]
        if not (ctx.resilient_parsing or given.get("help")):
            required = [param for param in self.get_params(ctx) if param.required]
            missing = [param for param in required if param.value_is_missing(given.get(param.name))]
            if missing:
                raise MissingParameters(_told(missing), ctx=ctx)
        return super().parse_args(ctx, args)


def _told(missing: list[Any]) -> str:
    lines = []
    for param in missing:
        metavar = param.metavar or str(param.name).upper()
        name = metavar if param.param_type_name == "argument" else f"{param.opts[0]} {metavar}"
        lines.append(f"  {name}  {param.help or ''}".rstrip())
    return "\n".join(["Missing:", *lines])


def complete_help(app: typer.Typer) -> None:
    """Give every command of an application its examples, panel and class, and its text unbroken lines."""
    for words, command in _commands(app, ""):
        command.cls = Command
        command.help = _unbroken(inspect.getdoc(command.callback) or "")
        if words in EXAMPLES:
            title = "Example:" if len(EXAMPLES[words]) == 1 else "Examples:"
            command.epilog = "\n\n".join([title, *EXAMPLES[words]])

    panels = {name: panel for panel, names in PANELS.items() for name in names}
    entries: list[Any] = [*app.registered_commands, *app.registered_groups]
    for entry in entries:
        entry.rich_help_panel = panels.get(_name(entry), "Further commands")


def _unbroken(text: str) -> str:
    """Paragraphs of one line each, for a screen of any width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _name(entry: Any) -> str:
    return str(entry.name or entry.callback.__name__.replace("_", "-"))


def _commands(app: typer.Typer, above: str) -> Iterator[tuple[str, Any]]:
    for command in app.registered_commands:
        yield f"{above}{_name(command)}", command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from _commands(group.typer_instance, f"{above}{group.name} ")

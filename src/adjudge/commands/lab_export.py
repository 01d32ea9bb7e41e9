"""adjudge lab export: a trained judge as one file that runs without torch."""

import importlib.util
from pathlib import Path

import click
import msgspec

from adjudge.errors import MissingExtra

INSTALL = "pip install 'adjudge[lab]'"


@click.command("export")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The GGUF file to write.")
@click.option("--name", default="", help="The model's name inside of it; the folder's without one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(folder: Path, out: Path, name: str, as_json: bool) -> None:
    """Write the model of FOLDER, a judge or policy of a study, as a GGUF file for llama.cpp.

    An embedded server of arms.toml runs it (path = "judge.gguf"), and so does any llama.cpp.

    \b
    adjudge lab export out/tiny/seed-0/judges/distilled --out judge.gguf
    """
    if missing := [part for part in ("torch", "transformers", "gguf") if importlib.util.find_spec(part) is None]:
        raise MissingExtra(f"the export of a model ({', '.join(missing)})", INSTALL)
    from adjudge.lab.models.export import export_gguf  # torch takes seconds to import
    from adjudge.lab.models.training import quiet

    quiet()
    size = export_gguf(folder, out, name or folder.name)
    if as_json:
        click.echo(msgspec.json.encode({"out": str(out), "bytes": size}))
    else:
        click.echo(f"{out}: {size / 1e6:.1f} MB")

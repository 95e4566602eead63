"""`mapseek up`, `run` and `gateway`; `status`, `invite`, `topology` and `schema`."""

from typing import Annotated

import typer

from pipeline.cli.app import app, complete_stage_names, out, prepare_settings, run_and_exit

topology_app = typer.Typer(help="Show or change the streams and consumers on the NATS server.", no_args_is_help=True)
app.add_typer(topology_app, name="topology")


@app.command("up")
def up_command() -> None:
    """Run everything in one process.

    That is the gateway and every stage, and a log server of its own if NATS_URL is not set. A data folder has one gateway.
    """
    from pipeline.serve.command import serve_all

    run_and_exit(serve_all(prepare_settings()))


@app.command("run")
def run_command(
    stages: Annotated[
        list[str], typer.Argument(help="Stages, as `mapseek status` names them.", autocompletion=complete_stage_names)
    ],
) -> None:
    """Run only the named stages.

    They use the log server at NATS_URL. If that is not set, they use the one of a running `mapseek up`.
    """
    from pipeline.serve.command import serve_stages

    run_and_exit(serve_stages(prepare_settings(), stages))


@app.command("gateway")
def gateway_command() -> None:
    """Run only the Discord gateway, once on a data folder.

    It uses the log server at NATS_URL. If that is not set, it uses the one of another command that runs on the data folder.
    """
    from pipeline.serve.command import serve_gateway

    run_and_exit(serve_gateway(prepare_settings()))


@app.command("status")
def status_command(
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every two seconds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """Show what each stage does, what waits and what failed.

    Prints a row for each stage and lane: messages that wait, messages in progress, retries, dead letters, rate and last activity.
    """
    from pipeline.serve.command import show_status

    run_and_exit(show_status(prepare_settings(quiet=True), watch=watch, as_json=as_json, out=out))


@app.command("invite")
def invite_command(
    guild: Annotated[
        int | None, typer.Option(min=1, help="The id of a Discord server: the page of the link then has it selected.")
    ] = None,
) -> None:
    """Print the link that adds the bot to a server.

    The link asks only for the permissions that MapSeek needs. The output says what each is for. Needs only DISCORD_TOKEN.
    """
    from pipeline.serve.command import show_invite

    show_invite(prepare_settings(quiet=True), guild, out)


@topology_app.command("diff")
def topology_diff_command() -> None:
    """Show which streams and consumers differ from what this version needs. The exit code is 1 if any do."""
    from pipeline.serve.command import show_topology_differences

    run_and_exit(show_topology_differences(prepare_settings(quiet=True), out))


@topology_app.command("apply")
def topology_apply_command() -> None:
    """Change the streams and consumers to what this version needs. No log entry is lost."""
    from pipeline.serve.command import apply_topology

    run_and_exit(apply_topology(prepare_settings(quiet=True), out))


@topology_app.command("server-config")
def topology_server_config_command() -> None:
    """Print the configuration of a NATS server that has a user for each role, with the permissions that the role needs.

    The passwords are not in it: the server takes them from its environment.
    """
    from pipeline.engine.roles import build_server_config

    out.print(build_server_config(), end="", markup=False, highlight=False, soft_wrap=True)


@topology_app.command("rotate-key")
def topology_rotate_key_command() -> None:
    """Give the log server of the data folder a new key. Stop `mapseek up` first.

    MapSeek's own log server lets in only who has the key, which is in a file that only you can read.
    """
    from pipeline.serve.command import rotate_key

    rotate_key(prepare_settings(quiet=True), out)


@app.command("schema")
def schema_command(
    check: Annotated[
        bool, typer.Option("--check", help="Only list the files that are out of date. The exit code is 1 if there are any.")
    ] = False,
) -> None:
    """Write the JSON Schemas and the AsyncAPI document.

    They are generated from the code in `contracts/`, so this works only in a checkout of the source.
    """
    from pipeline.schemas import find_stale_files, write_stale_files

    stale = find_stale_files() if check else write_stale_files()
    for path in stale:
        out.print(f"{'out of date' if check else 'written'}: {path}")
    raise typer.Exit(1 if check and stale else 0)

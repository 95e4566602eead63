"""The container files name only what exists: commands, stages, settings, services, metrics; and they keep their own rules."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry

from pipeline.engine.metrics import Metrics
from pipeline.engine.registry import STAGES
from pipeline.engine.roles import build_server_config, list_roles
from pipeline.main import app
from pipeline.settings import Settings
from tests.support.containers import (
    ROOT,
    list_base_images,
    list_compose_variables,
    list_instructions,
    list_own_services,
    list_services,
    list_working_services,
    read_compose,
    read_dockerfile_stages,
    read_example_settings,
)

OPS = ROOT / "infra" / "ops"
IMAGE = re.compile(r"[\w./-]+:v?\d+(\.\d+)+[\w.-]*")
SECRET_NAME = re.compile(r"TOKEN|PASSWORD|SECRET|_URI$")
METRIC = re.compile(r"\bmapseek_\w+")


def environments() -> Iterator[tuple[str, str, str]]:
    """(service, name, value) of every variable of every service."""
    for service, described in list_services().items():
        for name, value in described.get("environment", {}).items():
            yield service, name, str(value)


def setting_names() -> set[str]:
    """The environment names that Settings answers to."""
    names = set()
    for field, info in Settings.model_fields.items():
        aliases = getattr(info.validation_alias, "choices", None)
        names |= set(aliases) if aliases else {f"MAPSEEK_{field.upper()}"}
    return names


def test_every_stage_has_exactly_one_service_and_the_gateway_has_one() -> None:
    commands = {name: service["command"] for name, service in list_working_services().items()}
    assert commands.pop("gateway") == ["gateway"]
    assert sorted(stage for _, *stages in commands.values() for stage in stages) == sorted(stage.name for stage in STAGES)
    for name, (command, first, *_) in commands.items():
        assert (command, first) == ("run", name)


def test_every_service_logs_in_to_the_log_as_the_user_of_its_role() -> None:
    roles = {role.name: role for role in list_roles()}
    server = list_services()["nats"]["environment"]
    assert set(server) == {role.password_variable for role in roles.values()}
    for name, service in list_own_services().items():
        role = roles["operator" if name == "topology" else name]
        environment = service["environment"]
        assert environment["MAPSEEK_NATS_USER"] == role.name
        assert environment["MAPSEEK_NATS_PASSWORD"] == f"${{{role.password_variable}:?copy .env.example to .env}}"
        # With quotes around it, the server reads every password as text.
        assert server[role.password_variable] == f'"{environment["MAPSEEK_NATS_PASSWORD"]}"'
        if name in list_working_services() and name != "gateway":
            assert [stage.name for stage in role.stages] == service["command"][1:]


def test_the_configuration_of_the_log_server_is_the_one_that_mapseek_prints() -> None:
    assert (OPS / "nats.conf").read_text() == build_server_config(), "run `mapseek topology server-config > infra/ops/nats.conf`"


def test_one_command_fills_in_every_password(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text()
    (tmp_path / ".env.example").write_text(example)
    [command] = re.findall(r"^#   (cp .*)$", example, re.MULTILINE)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    made = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines() if re.match(r"\w+_PASSWORD=", line))
    assert {role.password_variable for role in list_roles()} < set(made)
    assert all(re.fullmatch(r"[0-9a-f]{40}", password) for password in made.values())
    assert len(set(made.values())) == len(made)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    kept = re.sub(r"(?m)^(\w+_PASSWORD)=\w+$", r"\1=", (tmp_path / ".env").read_text())
    assert kept == example


def test_the_stages_that_compare_pictures_share_one_service() -> None:
    """Each process that compares holds the whole index and writes its snapshot into the one folder."""
    assert list_own_services()["match"]["command"] == ["run", "match", "link", "alert"]


def test_every_command_parses_on_the_real_command_line() -> None:
    group = typer.main.get_command(app)
    assert list_own_services()["topology"]["command"] == ["topology", "apply"]
    assert "apply" in group.commands["topology"].commands  # type: ignore[attr-defined]
    assert list_own_services()["operator"]["command"] == ["--help"]
    for service in list_working_services().values():
        name, *arguments = service["command"]
        command = group.commands[name]  # type: ignore[attr-defined]
        with command.make_context(name, list(arguments)) as context:
            assert context.params.get("stages", []) == arguments


def test_every_variable_of_our_services_is_a_setting() -> None:
    ours = {(service, name) for service, name, _ in environments() if service in list_own_services()}
    assert {entry for entry in ours if entry[1] not in setting_names()} == set()
    assert {name for _, name in ours} >= {"NATS_URL", "DISCORD_TOKEN", "MONGODB_URI", "MAPSEEK_CATALOGUE", "MAPSEEK_VECTORS"}


def test_every_variable_set_in_the_image_is_a_setting_or_somebody_elses() -> None:
    names = {word for line in list_instructions("slim") for word in re.findall(r"(MAPSEEK_\w+)=", line)}
    assert names == {"MAPSEEK_DATA_DIR", "MAPSEEK_HTTP_HOST", "MAPSEEK_HTTP_PORT"}
    assert names <= setting_names()


def test_the_example_has_every_variable_that_compose_reads_and_no_other() -> None:
    assert set(read_example_settings()) == list_compose_variables()
    unknown = {name for name in read_example_settings() if name.startswith("MAPSEEK_")} - setting_names()
    assert unknown == set()


def test_the_example_and_compose_agree_with_the_defaults_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a line left out of .env, or left as it is, changes nothing."""
    default = Settings(_env_file=None)
    for name, value in read_example_settings().items():
        monkeypatch.setenv(name, value)
    chosen = Settings(_env_file=None)
    differing = {field for field in Settings.model_fields if getattr(chosen, field) != getattr(default, field)}
    assert differing == {"mongodb_uri"}
    written = [re.fullmatch(r"\$\{(\w+):-(.*)\}", value) for _, _, value in environments()]
    defaults = {match[1]: match[2] for match in written if match}
    assert len(defaults) > 10
    assert defaults == {name: read_example_settings()[name] for name in defaults}


def test_no_secret_is_written_down() -> None:
    secret = [(service, name, value) for service, name, value in environments() if SECRET_NAME.search(name)]
    assert {name for _, name, _ in secret} >= {
        "DISCORD_TOKEN",
        "MONGODB_URI",
        "MONGODB_INITDB_ROOT_PASSWORD",
        "MAPSEEK_NATS_PASSWORD",
    }
    assert [entry for entry in secret if not re.fullmatch(r'"?\$\{\w+(:[-?][^}]*)?\}"?', entry[2])] == []
    kept = {name: value for name, value in read_example_settings().items() if SECRET_NAME.search(name)}
    assert {name for name, value in kept.items() if value} == {"MONGODB_URI"}
    assert "${MONGODB_PASSWORD}" in kept["MONGODB_URI"]


def test_only_those_who_speak_as_the_bot_have_its_token() -> None:
    assert {service for service, name, _ in environments() if name == "DISCORD_TOKEN"} == {
        *("gateway", "download", "notify", "operator")
    }


def test_every_image_is_pinned_and_ours_have_the_projects_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    images = {name: service["image"] for name, service in list_services().items()}
    for image in [*images.values(), *list_base_images()]:
        assert IMAGE.fullmatch(image), f"{image} is not pinned to a version"
    assert {images[name] for name in list_own_services()} == {f"mapseek:{version}", f"mapseek-embed:{version}"}


def test_torch_is_only_in_the_image_that_embeds() -> None:
    targets = {name: service["build"]["target"] for name, service in list_own_services().items()}
    assert targets == {name: "embed" if name in ("embed", "operator") else "slim" for name in list_own_services()}
    copied = {target: [line for line in list_instructions(target) if "--from=packages" in line] for target in ("slim", "embed")}
    assert copied["slim"] == ["COPY --from=packages /opt/mapseek /opt/mapseek"]
    assert copied["embed"] == ["COPY --from=packages-embed /opt/mapseek /opt/mapseek"]
    assert any("optional-dependencies" in line for line in list_instructions("packages-embed"))
    assert not any("optional-dependencies" in line for line in list_instructions("packages"))


@pytest.mark.parametrize("target", ["slim", "embed"])
def test_each_image_runs_mapseek_as_a_user_without_rights_and_asks_itself_whether_it_is_ready(target: str) -> None:
    instructions = list_instructions(target)
    users = [line.split()[1] for line in instructions if line.startswith("USER ")]
    assert users[-1:] == ["mapseek"]
    assert any(line.startswith("RUN useradd ") and " mapseek " in line for line in instructions)
    assert 'ENTRYPOINT ["mapseek"]' in instructions
    [check] = [line for line in instructions if line.startswith("HEALTHCHECK ")]
    program = json.loads(check[check.index("[") :])
    assert program[:2] == ["python", "-c"]
    compile(program[2], "healthcheck", "exec")
    assert "/readyz" in program[2]


def test_every_package_is_installed_under_the_constraints() -> None:
    installs = [line for _, lines in read_dockerfile_stages().values() for line in lines if "pip install" in line]
    assert len(installs) == 4
    assert all("--constraint constraints.txt" in line or "--no-deps --no-index" in line for line in installs)


def test_every_service_has_a_health_check() -> None:
    with_their_own = {name for name, service in list_services().items() if service.get("healthcheck", {}).get("test")}
    assert with_their_own | set(list_own_services()) == set(list_services())
    disabled = {name for name, service in list_services().items() if service.get("healthcheck", {}).get("disable")}
    assert disabled == set()


def test_every_service_waits_for_what_it_cannot_start_without() -> None:
    for name, service in list_own_services().items():
        waits = dict(service["depends_on"])
        created = {"condition": "service_completed_successfully"}
        assert waits.pop("topology", created) == created
        assert ("topology" in service["depends_on"]) == (name != "topology")
        assert all(condition == {"condition": "service_healthy"} for condition in waits.values())
        assert set(waits) <= set(list_services())
        assert ("mongodb" in waits) == ("MONGODB_URI" in service["environment"]), name
        assert "nats" in waits


def test_every_service_can_be_scaled_and_is_restarted() -> None:
    for name, service in list_services().items():
        assert "container_name" not in service, name
        assert service["restart"] == ("no" if name in ("topology", "operator") else "unless-stopped")
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    assert all("ports" not in service and "hostname" not in service for service in list_own_services().values())


def test_our_containers_have_no_rights_to_lose() -> None:
    for service in list_own_services().values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    for name, service in list_services().items():
        assert service["security_opt"] == ["no-new-privileges:true"]
        if name != "mongodb":  # nobody has tried its image without them
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name


def test_every_service_has_limits_on_memory_and_processes() -> None:
    for name, service in list_services().items():
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"]), name
        assert 0 < service["pids_limit"] <= 1024, name


def test_every_service_mounts_only_what_it_needs() -> None:
    """Who only reads pictures cannot change them, and who needs no file has none."""
    written, read = ["blobs:/data/blobs", "questions:/data/questions"], ["blobs:/data/blobs:ro", "questions:/data/questions:ro"]
    assert {name: service.get("volumes", []) for name, service in list_own_services().items()} == {
        "topology": [],
        "gateway": read,
        "download": written,
        "preprocess": written,
        "fingerprint": written,
        "embed": [*read, "models:/data/models"],
        "persist": [],
        "match": [*read, "vectors:/data/vectors", "features:/data/features"],
        "reply": read,
        "judge": [],
        "notify": [],
        "remove": [],
        "erase": ["blobs:/data/blobs"],
        "operator": [*written, "models:/data/models", "vectors:/data/vectors", "features:/data/features"],
    }


def test_a_new_volume_belongs_to_the_user_of_the_image() -> None:
    mounted = {mount.split(":")[1] for service in list_own_services().values() for mount in service.get("volumes", [])}
    [made] = [line for line in list_instructions("slim") if "install -d" in line]
    assert mounted <= set(made.split())
    assert all(service["tmpfs"] == ["/tmp", "/data:uid=10001,gid=10001,mode=0700"] for service in list_own_services().values())
    assert "--uid 10001" in made


def test_mapseeks_user_of_the_database_has_rights_on_one_database_only() -> None:
    mongodb = list_services()["mongodb"]
    script = (OPS / "mongodb-user.js").read_text()
    assert "./infra/ops/mongodb-user.js:/docker-entrypoint-initdb.d/mongodb-user.js:ro" in mongodb["volumes"]
    assert set(re.findall(r"process\.env\.(\w+)", script)) == {"MAPSEEK_MONGODB_DATABASE", "MONGODB_PASSWORD"}
    assert re.findall(r"role: \"(\w+)\"", script) == ["readWrite"]
    assert mongodb["environment"]["MONGODB_INITDB_ROOT_USERNAME"] not in read_example_settings()["MONGODB_URI"]
    assert "@mongodb:27017/${MAPSEEK_MONGODB_DATABASE}?" in read_example_settings()["MONGODB_URI"]


def test_every_named_volume_is_declared_and_every_mounted_file_exists() -> None:
    used = set()
    for service in list_services().values():
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                assert mount.endswith(":ro"), mount
            else:
                used.add(source)
    assert used == set(read_compose()["volumes"])


def test_prometheus_asks_each_of_our_services_where_it_listens() -> None:
    configuration = yaml.safe_load((OPS / "prometheus.yml").read_text())
    [job] = configuration["scrape_configs"]
    [found] = job["dns_sd_configs"]
    assert set(found["names"]) == set(list_working_services())
    assert f"MAPSEEK_HTTP_PORT={found['port']}" in " ".join(list_instructions("slim"))
    mounted = {mount.split(":")[1] for mount in list_services()["prometheus"]["volumes"]}
    assert set(configuration["rule_files"]) <= mounted


def sample_names() -> set[str]:
    """Every name that /metrics gives, whether or not a label has been used yet."""
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
    registry = Metrics(CollectorRegistry()).registry
    return {metric.name + suffix for metric in registry.collect() for suffix in suffixes[metric.type]}


def alert_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((OPS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((OPS / "grafana/dashboards/mapseek.json").read_text())["panels"]
    return found


def test_alerts_and_dashboard_use_only_metrics_that_exist() -> None:
    expressions = [rule["expr"] for rule in alert_rules()]
    expressions += [target["expr"] for panel in panels() for target in panel["targets"]]
    used = {name for expression in expressions for name in METRIC.findall(expression)}
    assert len(used) >= 8
    assert used - sample_names() == set()


def test_every_alert_says_what_is_wrong_and_a_service_that_is_gone_is_noticed() -> None:
    assert all(rule["annotations"]["summary"].endswith(".") and rule["labels"]["severity"] for rule in alert_rules())
    [missing] = [rule["expr"] for rule in alert_rules() if rule["alert"] == "ServiceMissing"]
    assert sorted(re.findall(r'absent\(up\{service="(\w+)"\}\)', missing)) == sorted(list_working_services())


def test_the_dashboard_is_where_grafana_looks_and_asks_the_data_source_that_is_set_up() -> None:
    [source] = yaml.safe_load((OPS / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in panels()} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((OPS / "grafana/provisioning/dashboards/mapseek.yml").read_text())["providers"]
    assert f"./infra/ops/grafana/dashboards:{provider['options']['path']}:ro" in list_services()["grafana"]["volumes"]


def test_the_real_log_server_accepts_its_configuration() -> None:
    configuration = OPS / "nats.conf"
    server = Path(sys.executable).with_name("nats-server")
    passwords = {role.password_variable: '"12e5"' for role in list_roles()}
    checked = subprocess.run([server, "-t", "-c", configuration], capture_output=True, text=True, timeout=20, env=passwords)
    assert checked.returncode == 0, checked.stderr
    text = configuration.read_text()
    assert re.search(r"^jetstream \{$", text, re.MULTILINE)
    assert "max_payload: 8MB" in text
    [monitoring] = re.findall(r'^http: "127.0.0.1:(\d+)"$', text, re.MULTILINE)
    assert list_services()["nats"]["healthcheck"]["test"][-1] == f"http://127.0.0.1:{monitoring}/healthz"
    store = text.partition('store_dir: "')[2].partition('"')[0]
    assert f"log:{store}" in list_services()["nats"]["volumes"]

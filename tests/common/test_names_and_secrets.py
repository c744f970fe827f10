"""Names, sizes and secrets: what leaves the folder that it belongs in, or grows, is refused."""

import json
import os
from pathlib import Path

import pytest

from Common.commands.redaction import HIDDEN, command_line, redact
from Common.errors import UserError
from Common.files.bounded_read import read_bounded
from Common.runs.checkpoint import CheckpointStore
from Common.runs.run_folder import locate
from Common.runs.tracking import write_config
from Distillation.flags.uses import USES
from Enviroment.dataset.format import Manifest
from Models.bundle import read_bundle
from Models.sb3.inert_pickle import RefusedPickleError, read_inert
from Models.sb3.vecnormalize import read_vecnormalize
from Models.sb3.zip_file import read_sb3_zip
from tests.support.tiny_dataset import collect_tiny

# -- names and paths -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["..", "../x", "a/../../x", "a\0b", "x" * 300, "é" * 150, "/".join(["x" * 150] * 30)]
)
@pytest.mark.parametrize("from_user", [True, False])
def test_names_of_runs_cannot_leave_their_folder(name, from_user, tmp_path):
    with pytest.raises(UserError, match=r"'\.\.'|no usable name"):
        locate(tmp_path / name if from_user else None, Path("Pusher") / name)


def test_a_default_name_is_below_results():
    with pytest.raises(UserError, match="leaves"):
        locate(None, Path("/etc"))


@pytest.mark.parametrize("name", ["../../shard_00000.safetensors", "/etc/passwd", "a\0", "x" * 300])
def test_names_of_shards_are_not_believed(name, tmp_path):
    folder = collect_tiny(tmp_path / "data", 20)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][0]["name"] = name
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="numbered from 0"):
        Manifest.read(folder)


# -- files that are none, and files that grow ----------------------------------------------------

READERS = {
    "teacher.json": lambda path: read_bundle(path.parent, "teacher"),
    "agent.zip": lambda path: read_sb3_zip(path, None),
    "vecnormalize.pkl": lambda path: read_vecnormalize(path, 3),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_what_is_no_file_is_refused_and_not_waited_for(name, kind, tmp_path):
    path = tmp_path / name
    if kind == "device":
        path.symlink_to("/dev/zero")  # without end
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(UserError, match=r"not a regular file|Is a directory"):
        READERS[name](path)


def test_no_more_is_read_than_was_reckoned_with(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(OSError, match="larger than"):
        read_bounded(path, 4)


def test_a_manifest_of_a_gigabyte_is_refused_unread(tmp_path, capsys):
    store = CheckpointStore(tmp_path)
    os.truncate(store.save(1, {}, {}) / "manifest.json", 2**30)  # a hole: no byte on the disk
    assert store.newest() is None
    assert "larger than 1 MiB" in capsys.readouterr().err


@pytest.mark.parametrize("put", [b"r\xff\xff\xff\x7f", b"p4000000000\n"])
def test_a_pickle_with_a_huge_memo_is_refused_before_it_is_made(put):
    with pytest.raises(RefusedPickleError, match="keeps an object as number"):
        read_inert(b"\x80\x02N" + put + b".", ())


# -- secrets -------------------------------------------------------------------------------------


def test_secrets_are_hidden_in_commands_and_settings(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("SHORT_TOKEN", "Pusher")  # too short to be looked for everywhere
    command = ["python", "run.py", "--api_key", "A", "--hf-token=B", "--PPD", "--output", "a b"]
    assert command_line(command) == (
        "python run.py --api_key '***' '--hf-token=***' --PPD --output 'a b'"
    )
    assert command_line(["--password", "--PPD", "Pusher"]) == "--password --PPD Pusher"
    assert redact({"a": ["x0123456789abcdefy", 3, None], "b": {"c": "https://me:pw@host/x"}}) == {
        "a": ["x***y", 3, None],
        "b": {"c": "https://***@host/x"},
    }


@pytest.mark.parametrize(
    "name",
    [
        *("GITHUB_PAT", "DB_PWD", "PRIVATE_KEY", "SSH_PASSPHRASE", "PGPASSWORD", "SMTP_PASS"),
        *("HFTOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "secretKey", "OPENAI_APIKEY"),
    ],
)
def test_a_variables_name_tells_that_it_is_secret(name, monkeypatch):
    monkeypatch.setenv(name, "s3cret-Value")
    assert redact("/data/s3cret-Value/x") == "/data/***/x"
    flag = "--" + name.lower().replace("_", "-")
    if name != "secretKey":
        assert command_line([flag, "A", f"{flag}=B", f"{name}=C"]) == (
            f"{flag} '***' '{flag}=***' '{name}=***'"
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKENIZERS_MODE", "constant"),  # no token
        ("LR_TOKEN", "constant"),  # no token is a word
        ("TOKEN_TYPE", "bearer-token"),
        ("PASSWORD_FILE", "/run/secrets"),
        ("PUBLIC_KEY", "ssh-ed25519 AAAA"),
        ("KEYBOARD", "us-layout-1"),
        ("PATH_TO_X", "somewhere-1"),
        ("COMPASS", "north-north-1"),
    ],
)
def test_words_that_are_no_secret_stay(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    settings = {"lr_schedule": "constant", "path": f"/data/{value}/x"}
    assert redact(settings) == settings


def test_no_flag_of_ours_is_taken_for_a_secret():
    assert HIDDEN not in command_line([text for name in USES for text in (f"--{name}", "x")])


def test_a_password_that_is_a_word_is_hidden_as_a_word(monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "mountain")
    assert redact("/mountain/mountaineer mountain") == "/***/mountaineer ***"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:p@ss/w#r?d:x@host/x", "https://***@host/x"),
        ("postgresql://u:a\"b'c@db:5432/t", "postgresql://***@db:5432/t"),
        ("https://:only-password@host", "https://***@host"),
        ("see https://ghp_abc@github.com/a/b now", "see https://***@github.com/a/b now"),
        ("https://host:8080/a@v2", "https://host:8080/a@v2"),
        ("https://host/a@v2", "https://host/a@v2"),
        (
            "https://b.s3.amazonaws.com/k?X-Amz-Credential=AK%2F1&X-Amz-Date=2&X-Amz-Signature=f0",
            "https://b.s3.amazonaws.com/k?X-Amz-Credential=***&X-Amz-Date=2&X-Amz-Signature=***",
        ),
        (
            "https://a.blob.core.windows.net/c?sv=1&sig=a%2Bb%3D&se=2",
            "https://a.blob.core.windows.net/c?sv=1&sig=***&se=2",
        ),
        ("gs://b/k?GoogleAccessId=x&Signature=y", "gs://b/k?GoogleAccessId=x&Signature=***"),
        ("https://h/x#access_token=abc&page=1", "https://h/x#access_token=***&page=1"),
        ("a?sig=1", "a?sig=1"),  # no URL
    ],
)
def test_logins_and_signatures_in_urls_are_hidden(url, shown):
    assert redact([url]) == [shown]


def test_a_configuration_on_the_disk_holds_no_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("CLOUD_SECRET", "environment-secret")
    config = {"teacher": Path("/data/environment-secret/teacher")}
    command = ["run", "--teacher", "/data/environment-secret/teacher", "--token=argument-secret"]
    path = write_config(tmp_path, config, teacher_sha256=None, command=command)
    written = path.read_text()
    assert "secret" not in written
    assert "/data/***/teacher" in written


def test_a_whole_run_leaves_no_secret_behind(pusher, monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    secrets = {"WANDB_API_KEY": "5ec2e7" * 6 + "abcd", "CLOUD_TOKEN": "environment-secret"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "untracked.py").write_text("untracked = 'untracked-content'")
    monkeypatch.chdir(tmp_path)
    folder = pusher("--PPD", "--wandb", "offline")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    for path in files:
        content = path.read_bytes()
        for secret in (*secrets.values(), "untracked"):
            assert secret.encode() not in content, path

"""Settings: types, files, command lines, rewriting."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplate.config import OPTIONS, Config, ConfigError, UnknownSettingError
from hotplate.config_file import (
    load,
    parse_command_line,
    parse_lines,
    quote_word,
    rewrite_file,
    rewrite_text,
    split_words,
)
from hotplate.config_kinds import OutputLimit


def test_every_default_is_read_back_from_how_it_is_shown() -> None:
    for name, option in OPTIONS.items():
        shown = Config().show(name)
        assert option.kind.parse([shown], option.default) == option.default, name


@pytest.mark.parametrize(
    ("text", "size"),
    [("1048576", 2**20), ("1mb", 2**20), ("2M", 2_000_000), ("1GB", 2**30), ("1048576b", 2**20)],
)
def test_sizes_take_the_units_of_redis(text: str, size: int) -> None:
    config = Config()
    config.change([("proto-max-bulk-len", [text])])
    assert config.proto_max_bulk_len == size


def test_values_outside_the_bounds_are_moved_inside_where_redis_does() -> None:
    config = Config()
    config.change([("hz", ["0"])])
    assert config.hz == 1
    config.change([("hz", ["5000"])])
    assert config.hz == 500


def test_a_class_of_output_limits_changes_alone() -> None:
    config = Config()
    config.change([("client-output-buffer-limit", ["pubsub 1mb 512kb 30"])])
    limits = config.value("client-output-buffer-limit")
    assert limits.pubsub == OutputLimit(2**20, 2**19, 30)
    assert limits.replica == OutputLimit(2**28, 2**26, 60)
    assert Config().value("client-output-buffer-limit").pubsub.hard_bytes == 2**25
    with pytest.raises(ConfigError, match="Invalid client class"):
        config.change([("client-output-buffer-limit", ["other 1 1 1"])])
    with pytest.raises(ConfigError, match="Wrong number of arguments"):
        config.change([("client-output-buffer-limit", ["normal 1 1"])])
    with pytest.raises(ConfigError, match="Error in hard, soft or soft_seconds"):
        config.change([("client-output-buffer-limit", ["normal 1 1 x"])])


def test_a_set_of_changes_is_applied_whole_or_not_at_all_and_told_once() -> None:
    config = Config()
    told: list[frozenset[str]] = []
    config.observe(told.append)
    with pytest.raises(ConfigError) as refusal:
        config.change([("timeout", ["5"]), ("maxclients", ["0"])])
    assert refusal.value.name == "maxclients"
    assert config.timeout == 0
    assert told == []
    config.change([("timeout", ["5"]), ("maxclients", ["9"])])
    assert told == [frozenset({"timeout", "maxclients"})]


def test_settings_of_missing_features_take_their_default_only() -> None:
    config = Config()
    config.apply([("appendonly", ["no"]), ("save", [""]), ("cluster-enabled", ["no"])])
    for name, value, needs in (
        ("tls-port", "6380", "TLS"),
        ("replicaof", "127.0.0.1 6379", "replication"),
        ("aclfile", "/etc/acl", "users"),
        ("io-threads", "4", "thread"),
    ):
        with pytest.raises(ConfigError, match=needs):
            config.apply([(name, [value])])


def test_aliases_mean_the_same_setting() -> None:
    config = Config()
    config.change([("hash-max-ziplist-entries", ["7"])])
    assert config.show("hash-max-listpack-entries") == "7"
    with pytest.raises(UnknownSettingError):
        config.change([("no-such", ["1"])])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=5))
def test_quoted_words_are_split_into_what_they_were(words: list[str]) -> None:
    assert split_words(" ".join(map(quote_word, words))) == words


@pytest.mark.parametrize("line", ['a "b', "a 'b", 'a "b"c', "'a'b"])
def test_unbalanced_quotes_are_refused(line: str) -> None:
    assert split_words(line) is None
    with pytest.raises(ConfigError, match=r"x\.conf, line 2: unbalanced quotes"):
        parse_lines(f"# first\n{line}\n", "x.conf")


def test_a_file_is_read_with_comments_quotes_and_repeated_settings(tmp_path: Path) -> None:
    path = tmp_path / "hotplate.conf"
    path.write_text(
        "# comment\n\n  PORT 7000\nbind 127.0.0.1 -::1\nrequirepass \"a b\\x41\"\nsave ''\n"
        "client-output-buffer-limit normal 1mb 0 0\nclient-output-buffer-limit pubsub 2mb 0 0\n"
    )
    config = load(path, [("port", ["7001"])])
    assert config.port == 7001
    assert config.bind == ("127.0.0.1", "-::1")
    assert config.requirepass == "a bA"
    limits = config.value("client-output-buffer-limit")
    assert (limits.normal.hard_bytes, limits.pubsub.hard_bytes) == (2**20, 2**21)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nope 1", "line 1: there is no setting 'nope'"),
        ("port", "line 1: port: wrong number of arguments"),
        ("port 1 2", "line 1: port: wrong number of arguments"),
        ("port x", "line 1: port: argument couldn't be parsed into an integer"),
        ("include other.conf", "line 1: 'include' is not supported"),
        ("tls-port 1", "line 1: tls-port: TLS is not in this version"),
    ],
)
def test_what_a_file_may_not_say_is_refused_with_its_line(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_lines(line, "x.conf")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.conf: can't read it: No such file"):
        load(tmp_path / "none.conf")


def test_the_command_line_is_that_of_redis_server() -> None:
    path, settings = parse_command_line(
        ["my.conf", "--port", "7000", "--bind", "127.0.0.1", "::1", "--save", "", "--hz=20"]
    )
    assert path == Path("my.conf")
    assert settings == [
        ("port", ["7000"]),
        ("bind", ["127.0.0.1", "::1"]),
        ("save", [""]),
        ("hz", ["20"]),
    ]
    assert parse_command_line([]) == (None, [])
    with pytest.raises(ConfigError, match="port: wrong number of arguments"):
        parse_command_line(["--port"])


def test_a_rewritten_file_keeps_its_lines_and_says_what_holds_now() -> None:
    old = "# head\nport 7000\n\n# about clients\nmaxclients 5\nmaxclients 6\n"
    config = Config()
    config.apply(parse_lines(old, "x.conf"))
    config.change([("maxclients", ["50"]), ("requirepass", ['se "cret'])])
    new = rewrite_text(old, config)
    assert new.startswith("# head\nport 7000\n\n# about clients\nmaxclients 50\n")
    assert new.count("maxclients") == 1
    again = Config()
    again.apply(parse_lines(new, "x.conf"))
    assert again.requirepass == 'se "cret'
    assert rewrite_text(new, again) == new


def test_the_old_file_stays_where_the_new_one_can_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hotplate.conf"
    path.write_text("timeout 5\n")
    path.chmod(0o640)
    config = load(path)
    config.change([("timeout", ["9"])])

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            rewrite_file(config)
    assert path.read_text() == "timeout 5\n"
    assert [file.name for file in tmp_path.iterdir()] == ["hotplate.conf"]
    rewrite_file(config)
    assert path.read_text() == "timeout 9\n"
    assert path.stat().st_mode & 0o777 == 0o640

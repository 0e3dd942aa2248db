import pytest

from bench.settings.yaml_file import load_yaml, parse_yaml
from fcn.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("-2", -2),
        ("0.5", 0.5),
        ("no", "no"),
        ("off", "off"),
        ("true", True),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("fcn8s", "fcn8s"),
        ("~", None),
        ("", None),
        ("[1, 2]", [1, 2]),
        ("'3'", "3"),
        ("1_000", "1_000"),
        ("!!str 32", "32"),
    ],
)
def test_scalars_mean_what_they_say(text, value):
    assert parse_yaml(text, where="here") == value
    assert type(parse_yaml(text, where="here")) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", r"spec\.yaml, line 3: key 'a' stands twice"),
        ("a: &x [1]\nb: *x", r"line 2: aliases are not allowed"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: [1, 2", "line 1"),
        ("a: 1\n[1, 2]: b", r"line 2: key \[1, 2\] is no word"),
        ("? {a: 1}\n: b", r"line 1: key \{'a': 1\} is no word"),
        ("a: !!set {b, c}", r"line 1: could not determine a constructor for the tag .*:set"),
        ("a: !!timestamp 1 o'clock", "could not determine a constructor"),
        ("a: !!binary aGk=", "could not determine a constructor"),
        ("a: 1\nb: !!bool maybe", "line 2: this is no bool: 'maybe'"),
        ('a: "\\U00110000"', "spec.yaml: "),
        ('a: "\\Uffffffff"', "spec.yaml: "),
        ("a: !!float x", "line 1: this is no float"),
        ("a: " + "9" * 5000, "line 1: this is no int: .*4300 digits"),
        ("[" * 3000, "nested too deeply"),
        ("x" * 1_000_001, "at most 1000000"),
    ],
)
def test_what_is_refused_is_named_with_its_line(text, said):
    with pytest.raises(InputError, match=said):
        parse_yaml(text, where="spec.yaml")


def test_a_file_must_be_readable_and_hold_keys(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_yaml(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(InputError, match="must hold keys"):
        load_yaml(tmp_path / "list.yaml")

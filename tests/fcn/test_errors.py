"""Errors of code that is not ours."""

import pytest

from fcn.errors import InputError, foreign_code


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit("x"), AssertionError("x\n y")])
def test_whatever_code_of_others_raises_is_input(error):
    message = r"^net: [A-Z][A-Za-z]+: '?x'?( y)?; mend it$"
    with pytest.raises(InputError, match=message) as caught, foreign_code("net: ", "; mend it"):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [InputError("12 classes"), KeyboardInterrupt("now")])
def test_what_says_enough_already_and_what_a_person_does_pass(error):
    with pytest.raises(type(error)) as caught, foreign_code("net: "):
        raise error
    assert caught.value is error

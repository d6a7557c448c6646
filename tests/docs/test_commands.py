"""Every command of the README and the guide, run in the order of its page in a fresh checkout."""

from pathlib import Path

import pytest

from tests.docs.checkout import Checkout
from tests.docs.commands import form, run_page
from tests.docs.pages import pages_with_commands
from tests.docs.shell import Shell
from tests.docs.test_deployment import PAGES


@pytest.mark.parametrize("page", sorted(set(pages_with_commands()) - set(PAGES)))
def test_the_commands_work(page: str, checkout: Checkout) -> None:
    """Each succeeds, and each reply is of the form that the page shows."""
    run_page(page, checkout)


def test_what_does_not_start_is_noticed(checkout: Checkout) -> None:
    """With what it printed."""
    with pytest.raises(AssertionError, match="no-such-file"):
        checkout.start("python no-such-file", "http://127.0.0.1:1/ready")


@pytest.mark.parametrize("commands", ["false", "false | true", "echo $UNSET", "exit 3", "nothing"])
def test_a_command_that_fails_is_noticed(commands: str, tmp_path: Path) -> None:
    """Whatever comes after it in its fence."""
    shell = Shell(tmp_path / "fence.sh")
    assert shell.run("NAME=value") == ""
    assert shell.run("echo $NAME") == "value"
    with pytest.raises(AssertionError, match="failed"):
        shell.run(f"{commands}\ntrue")
    shell.close()


def test_a_reply_of_another_form_is_noticed() -> None:
    """A name that is missing, a kind that is another, a list without items."""
    shown = {"hits": [{"id": "1", "score": 1.0}], "warnings": []}

    assert form(shown) == form({"hits": [{"id": "2", "score": 1}] * 2, "warnings": []})
    for reply in ({**shown, "hits": [{"id": "1"}]}, {**shown, "hits": []}, {**shown, "hits": "1"}):
        assert form(shown) != form(reply)

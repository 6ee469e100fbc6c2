"""What the manual has for an operator of several machines, put to use here."""

import re

from gms_hookd.cli.manual import topic


def recipe(language):
    """Give the one block of the manual in this language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", topic("beyond"), re.DOTALL)
    return found


def placed(text, places):
    """Put what is here in the place of what the manual has for an example."""
    for said, here in places.items():
        assert said in text, said
        text = text.replace(said, str(here))
    return text

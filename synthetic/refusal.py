"""How the room says that a truth has no closed form: by the assumption that fails, with the remedy."""


class NotExact(ValueError):  # noqa: N818 - the name is what is said of the quantity
    """No closed form: `assumption` names what fails in this world, `remedy` what to do instead."""

    def __init__(self, assumption: str, remedy: str) -> None:
        self.assumption, self.remedy = assumption, remedy
        super().__init__(f"no closed form: {assumption}; {remedy}")


class Unresolved(NotExact):
    """There is a closed form, but the floating-point type of the world does not resolve it."""

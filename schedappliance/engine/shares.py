"""What is kept for trusted users: root and the user of the appliance. Rule: nobody else can use it up."""


def kept_of(number: int) -> int:
    """How many of a number of places are kept: an eighth, but at least one of two."""
    return max(number // 8, int(number > 1))

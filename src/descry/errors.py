"""The errors that a user can mend."""


class InputError(Exception):
    """Bad input: one line that names the file, line or key and says what to do (exit status 2)."""


def not_installed(package: str, extra: str, wanted_by: str) -> InputError:
    """That something wants a package which few need, and how to have it.

    Args:
        extra: of descry, which brings the package.
    """
    return InputError(
        f'{wanted_by}: {package} is not installed: install it with `pip install "descry[{extra}]"`'
    )

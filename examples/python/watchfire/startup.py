"""The specification's command line: hands its words to the host's binary, which has the same."""

import os
import shutil
import sys


def main(arguments=None):
    """Becomes `watchfire` with the same arguments."""
    arguments = sys.argv[1:] if arguments is None else arguments
    binary = os.environ.get("WATCHFIRE_BINARY") or shutil.which("watchfire")
    if binary is None:
        print("error: there is no `watchfire` on the PATH\nhint: install the host, or name its binary in WATCHFIRE_BINARY", file=sys.stderr)
        return 2
    try:
        os.execv(binary, ["watchfire", *arguments])
    except OSError as error:
        print(f"error: cannot run `{binary}`: {error.strerror}\nhint: WATCHFIRE_BINARY names the host's binary", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""Net benefit by dcurves, run by the python of an environment that has it.

Call: python dcurves_net_benefit.py IN.csv OUT.csv THRESHOLD ...; IN has y and p, OUT model, threshold and net_benefit.
"""

from __future__ import annotations

import sys


def main() -> None:
    import pandas as pd
    from dcurves import dca  # type: ignore[import-not-found]

    source, out = sys.argv[1:3]
    found = dca(
        data=pd.read_csv(source), outcome="y", modelnames=["p"], thresholds=[float(t) for t in sys.argv[3:]]
    )  # fmt: skip
    found[["model", "threshold", "net_benefit"]].to_csv(out, index=False)


if __name__ == "__main__":
    main()

"""Rows of a table -> one row an instance, for models that read what is known before anything is bought.

The rows of an instance, one for each order that may come first, have the same features: a model sees their mean reward
and cost. Axes: I instances, K choices, U purchases.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from adjudge.routing.ambiguity import Array
from adjudge.routing.portfolio import look
from adjudge.routing.table import Table


class Sample(NamedTuple):
    """`cost_IU` is of purchases, `part_UK` says which of them make up each choice; `share_I`, what each instance counts
    for in means, sums to one."""

    x_ID: Array
    reward_IK: Array
    cost_IU: Array
    part_UK: Array
    share_I: Array

    def costs(self) -> Array:
        """Of choices, shape (I, K)."""
        return self.cost_IU @ self.part_UK


def by_instance(table: Table, bundles: Sequence[Sequence[int]], weight_U: Array) -> Sample:
    """What each instance of the table earns and costs with each bundle, the purchases weighed by weight_U."""
    _, first_I, place_N, rows_I = np.unique(
        table.instance_N, return_index=True, return_inverse=True, return_counts=True
    )
    mean_IN = csr_array((1 / rows_I[place_N], (place_N, np.arange(len(table)))))
    reward_NK = np.stack([look(table, bundle, weight_U).reward(table) for bundle in bundles], axis=1)
    return Sample(
        table.x_ND[first_I],
        mean_IN @ reward_NK,
        mean_IN @ table.cost_NU,
        parts(bundles, len(table.purchases)),
        rows_I / len(table),
    )


def parts(bundles: Sequence[Sequence[int]], count: int) -> Array:
    """1 where a purchase is in a bundle, shape (U, K)."""
    return np.array([[float(u in bundle) for bundle in bundles] for u in range(count)])

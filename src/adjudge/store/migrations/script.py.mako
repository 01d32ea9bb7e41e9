"""${message}"""

import sqlalchemy as sa
from alembic import op

from adjudge.store.columns import Exact, Id, Words

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}

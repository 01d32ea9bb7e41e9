"""Column types that give back exactly what was put in, on SQLite and PostgreSQL alike."""

from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType


class _Untyped(UserDefinedType[int | float]):
    """An SQLite column without a declared type: it keeps 2 an integer and 2.0 a float, as they came."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return ""


class _Decimal(TypeDecorator[int | float]):
    """PostgreSQL's `numeric` keeps every digit; the point tells a float from an integer. Infinities become null."""

    impl = sa.Numeric
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:  # noqa: ARG002 -- SQLAlchemy's signature
        if value is None or isinstance(value, Decimal):
            return value
        if isinstance(value, int):
            return Decimal(value)
        shortest = Decimal(repr(value))
        if not shortest.is_finite():
            return None
        return shortest if shortest.as_tuple().exponent < 0 else Decimal(f"{shortest:f}.0")  # type: ignore[operator]

    def process_result_value(self, value: Any, dialect: Any) -> Any:  # noqa: ARG002 -- SQLAlchemy's signature
        if value is None:
            return None
        return int(value) if value.as_tuple().exponent >= 0 else float(value)


class _Escaped(TypeDecorator[str]):
    """PostgreSQL's `text` cannot hold U+0000, which a model may well write: it is kept as U+0010 0, and U+0010
    as itself twice."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002 -- SQLAlchemy's signature
        if value is None or ("\0" not in value and "\x10" not in value):
            return value
        return value.replace("\x10", "\x10\x10").replace("\0", "\x100")

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002 -- SQLAlchemy's signature
        if value is None or "\x10" not in value:
            return value
        first, *others = value.split("\x10\x10")
        return "\x10".join(part.replace("\x100", "\0") for part in (first, *others))


Words: TypeEngine[str] = sa.Text().with_variant(_Escaped(), "postgresql")
Exact: TypeEngine[Any] = _Untyped().with_variant(_Decimal(), "postgresql")
Id: TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite numbers rows by INTEGER alone

"""Whether an SQLite file holds in each column what is written there: SQLite itself lets anything stand anywhere.

A file that someone brought is read by code that trusts a number to be a number. So this is held when such a file is
opened, but for the tables that grow with the cube; an audit, which reads all of them anyway, holds those too.

Source: storage classes and ``typeof``, https://www.sqlite.org/datatype3.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import JSON, Boolean, Float, Integer, LargeBinary, and_, func, inspect, or_, select, type_coerce

from palimpsest.catalogue.tables import Base, UtcTime
from palimpsest.errors import EvidenceBroken

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sqlalchemy import Column, ColumnElement
    from sqlalchemy.orm import Session


GROW_WITH_THE_CUBE = ("provenance_tiles", "decision_tiles")  # whoever goes through them reads the whole file


def hold_kinds(session: Session, *, besides: Collection[str] = ()) -> None:
    """Hold every value of the tables that are there to the kind of its column.

    Args:
        session: of an SQLite database.
        besides: names of tables that are left out.

    Raises:
        EvidenceBroken: a number where text belongs, JSON that is none, a time that is none, nothing where something
            has to be.
    """
    there = set(inspect(session.connection()).get_table_names())
    for table in Base.metadata.sorted_tables:
        if table.name not in there or table.name in besides:
            continue
        columns = list(table.columns)
        odd = [or_(func.typeof(column).not_in(_storage_classes(column)), *_further(column)) for column in columns]
        found = session.execute(select(*(func.max(one) for one in odd))).one()  # the table is gone through once
        for column, is_odd, which in zip(columns, found, odd, strict=True):
            if is_odd:
                got = session.execute(select(func.typeof(column)).where(which).limit(1)).scalar()
                raise _altered(column, got, " or ".join(_storage_classes(column)))
        for column in columns:
            if isinstance(column.type, UtcTime):
                try:
                    session.execute(select(column)).all()
                except (ValueError, TypeError) as error:
                    raise _altered(column, error, "a moment, ISO 8601") from error


def _further(column: Column[object]) -> Iterator[ColumnElement[bool]]:
    """What else must not be true of a column's values."""
    if isinstance(column.type, JSON):
        yield and_(func.typeof(column) != "null", func.json_valid(column) == 0)
    elif isinstance(column.type, Boolean):
        yield type_coerce(column, Integer).not_in([0, 1])


def _storage_classes(column: Column[object]) -> list[str]:
    kind = column.type
    if isinstance(kind, Float):
        names = ["real", "integer"]
    elif isinstance(kind, Integer | Boolean):
        names = ["integer"]
    else:
        names = ["blob"] if isinstance(kind, LargeBinary) else ["text"]
    return [*names, "null"] if column.nullable else names


def _altered(column: Column[object], got: object, wanted: str) -> EvidenceBroken:
    where = f"{column.table.name}.{column.name}"
    return EvidenceBroken("a stored value of another kind than is written there", where=where, got=got, wanted=wanted)

"""The store: rows in DuckDB, files by content hash, lineage of everything, SQL views."""

from sdar.storage.blobs import folder_hash, read_references, write_references
from sdar.storage.database import literal, no_room
from sdar.storage.exchange import read_tables, write_tables
from sdar.storage.identity import artifact_id
from sdar.storage.output import FORMS, SCHEMA_QUERY, Form, schema_text, write_table
from sdar.storage.prune import KEEP, PruneReport
from sdar.storage.rows import ROW_NAMES, arrow_tables, records_of
from sdar.storage.sql import TABLES_QUERY
from sdar.storage.store import Store, open_store
from sdar.storage.transfer import Manifest, import_store

__all__ = [
    "FORMS",
    "KEEP",
    "ROW_NAMES",
    "SCHEMA_QUERY",
    "TABLES_QUERY",
    "Form",
    "Manifest",
    "PruneReport",
    "Store",
    "arrow_tables",
    "artifact_id",
    "folder_hash",
    "import_store",
    "literal",
    "no_room",
    "open_store",
    "read_references",
    "read_tables",
    "records_of",
    "schema_text",
    "write_references",
    "write_table",
    "write_tables",
]

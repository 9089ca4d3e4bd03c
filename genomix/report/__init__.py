"""L7: the report as a document: sections, charts, templates."""

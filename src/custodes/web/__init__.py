"""The web application: accounts, the interface for programs, and the screens."""

from custodes.web.app import create_app
from custodes.web.client import Client
from custodes.web.database import Database
from custodes.web.export import export_project
from custodes.web.imports import import_file
from custodes.web.serve import serve

__all__ = ["Client", "Database", "create_app", "export_project", "import_file", "serve"]

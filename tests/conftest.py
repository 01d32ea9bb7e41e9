"""What all tests share: property tests are judged by what they find, never by how busy the machine is."""

from hypothesis import settings

from .databases import postgres, postgres_server, store_url  # noqa: F401 -- fixtures

settings.register_profile("adjudge", deadline=None)
settings.load_profile("adjudge")

"""A thin client of the REST API: typed, blocking or not, repeating what may be repeated.

```python
from tamis.api.client import Client

with Client("http://127.0.0.1:8080", key="...") as tamis:
    tamis.add_documents("papers", ({"_id": str(n), "text": text} for n, text in enumerate(texts)))
    for hit in tamis.search("papers", "how do owls hunt", k=5).hits:
        print(hit.rank, hit.id, hit.score)
```

Needs ``pip install 'tamis[client]'``, which is httpx; knows nothing of indexes, models or files.
"""

from tamis.api.client.clients import AsyncClient, Client
from tamis.api.client.errors import ServiceError
from tamis.api.client.repeats import Repeats

__all__ = ["AsyncClient", "Client", "Repeats", "ServiceError"]

"""The cloud's side: accounts, uploads, durable queue, classifier workers, pages."""

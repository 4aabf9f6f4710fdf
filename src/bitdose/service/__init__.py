"""The cloud service: accounts, uploads, durable queue, classifier workers, pages."""

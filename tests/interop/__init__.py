"""Our server with other stacks' clients, our client with other stacks' servers."""

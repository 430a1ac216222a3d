/* A program whose input and output a client streams over a WebSocket. */
#ifndef MOAT_TOOLS_SERVE_STREAM_H
#define MOAT_TOOLS_SERVE_STREAM_H

#include <stddef.h>

/* Serves one over an upgraded socket, until the program and the connection have ended; blocks.
 * `first` has what came already. id: of a session, or "": a command in a sandbox of its own. */
void stream_serve(int fd, const void *first, size_t size, const char *id);
/* Ends those that are served, and waits until none is. None begins from now on. */
void streams_end(void);

#endif

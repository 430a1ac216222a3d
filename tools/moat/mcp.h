/* Between the files of `moat mcp`: the protocol in mcp.c, what the tools do in mcp_tools.c. */
#ifndef MOAT_TOOLS_MCP_H
#define MOAT_TOOLS_MCP_H

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>

#include "lib/libmoat.h"

struct mcp_session {
	struct moat_config config;
	uint64_t memory, timeout_ns, output_max; /* of one call */
	bool structured;			 /* the client knows structuredContent */
	pthread_mutex_t lock;
	struct moat *sandbox; /* lock to set; NULL: not started */
	unsigned users;	      /* calls that use it; lock */
	bool broken;	      /* it has ended: the next call gets another; lock */
};

/* A call under way, so that it can be cancelled. */
struct mcp_call {
	pthread_mutex_t lock;
	struct moat_run *run; /* lock; NULL: nothing runs */
	bool cancelled;	      /* lock */
};

/* The answer to tools/list. A new reference, NULL without memory. */
json_t *mcp_list_tools(void);
/* Runs a tool. The result of tools/call, a new reference; NULL: there is no such tool, or no
 * memory. The arguments are the client's: anything. */
json_t *mcp_call_tool(struct mcp_session *s, struct mcp_call *call, const char *name,
		      const json_t *arguments);
/* Ends the sandbox; nothing else uses it. */
void mcp_session_end(struct mcp_session *s);

#endif

/* moat do --json: the program's output and how it ended, as one JSON object. */
#ifndef MOAT_TOOLS_DO_JSON_H
#define MOAT_TOOLS_DO_JSON_H

#include "tools/moat/cli.h"

/* cli_launch() with the result on standard output. */
int do_json(const struct cli_options *options, struct sandbox_spec *spec);

#endif

#include "sentry/kernel/core/machine.h"

struct machine machine;

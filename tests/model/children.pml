/*
 * A hostile process of two threads that forks twice at a time, and its children: which processes
 * there are, which of them the sentry knows, and whose slot region each has mapped. The process
 * says anything of its clones; a child shows any cookie that its parent knew, or stays seen; the
 * host may refuse any child its map. One and the same parent: others do not know its cookies.
 *
 * Names are the code's, as in handover.pml.
 */
#define NOBODY 0
#define PARENT 0	/* its region; those of the orders 1 and 2 are 1 and 2 */
#define NONE 3

#define WORD_NONE 0
#define WORD_MADE 1
#define WORD_FAILED 2

#define STRAYS_NONE 0
#define STRAYS_SOME 1
#define STRAYS_UNKNOWN 2

/* as.c: as_table.region_refs[] */
byte region_refs[3];
/* struct platform_as of the parent, and its process */
byte clones, cloning, cloned;
bool dead, reaped, freed, swept;
/* listener->children, by order, whose cookie is its number: from when its clone is let through */
bool expected[3];
/* what the ordered thread has said, and whether its call is under way in the host's kernel */
byte word[3];
bool ordered[3], in_call[3];
/* forks under way in the sentry */
byte forks = 2;

/* processes, as they are made */
#define CHILDREN 3
byte made;
bool alive[4], known[4];
byte map[4];	/* the region each has mapped */
byte as_of[4];	/* the order whose address space it is registered as; NOBODY */
bool more;	/* a clone was asked for again: once in a run */

#define HAS(k, r) (alive[k] && map[k] == r)
#define HIDDEN(k) (alive[k] && !known[k] && map[k] == PARENT)
bool proved[3]; /* by order */

/* A region is somebody's anew: nobody else may have it. */
#define FRESH(r)                                                                                   \
	assert(region_refs[r] == 0 && !HAS(1, r) && !HAS(2, r) && !HAS(3, r))

/* as.c: as_proved() */
inline as_proved(i)
{
	if
	:: !proved[i] -> proved[i] = true; region_refs[PARENT]--
	:: else
	fi
}

/* strays.c: strays_look(), each_unknown_child(), has_region() */
inline strays_look(own, look)
{
	d_step { quiet = cloning == own; before = cloned }
	d_step {
		seen = HIDDEN(1) || HIDDEN(2) || HIDDEN(3)
	}
	d_step {
		quiet = quiet && before == cloned;
#ifdef BUG_OTHERS
		quiet = true;
#endif
		if
		:: seen ->
			if
			:: clones == 1 -> look = STRAYS_SOME
			:: else -> look = STRAYS_UNKNOWN
			fi
		:: else ->
			if
			:: quiet -> look = STRAYS_NONE
			:: else -> look = STRAYS_UNKNOWN
			fi
		fi;
		quiet = false; before = 0; seen = false
	}
}

/* command.c: systrap_fork(), clone_child(), expect_child(), unexpect_child(), clone_refused(),
 * wait_for_child(); strays.c: strays_none() */
proctype fork(byte i)
{
	byte look, before;
	bool found, quiet, seen;

	/* as.c: as_alloc() */
	d_step {
		FRESH(i);
		region_refs[i] = 1; region_refs[PARENT]++;
		ordered[i] = true
#ifdef BUG_EARLY_CHILD
		expected[i] = true
#endif
	}
	if
	:: dead
	:: word[i] == WORD_MADE -> (dead || !expected[i])
	:: word[i] == WORD_FAILED ->
		d_step { found = expected[i]; expected[i] = false }
		look = STRAYS_UNKNOWN;
		if
		:: !found -> look = STRAYS_SOME
		:: else ->
			do
			:: !dead && look == STRAYS_UNKNOWN ->
				if
				:: strays_look(0, look)
				/* the host has no descriptor for it */
				:: true ->
#ifdef BUG_REFUSED_LOOK
					look = STRAYS_NONE
#else
					look = STRAYS_UNKNOWN; (dead || clones != 2); dead = true
#endif
				fi
			:: look == STRAYS_UNKNOWN -> dead = true; break /* CLONE_LOOKS of them */
			:: else -> break
			od
		fi;
		if
		:: look == STRAYS_NONE -> clones--
		:: else -> dead = true
		fi
	/* the watchdog */
	:: dead = true
	fi;
	/* No child: the address space is given up. With one it lives as long as that. */
	d_step {
		found = expected[i]; expected[i] = false;
		if
		:: as_of[1] != i && as_of[2] != i && as_of[3] != i -> as_proved(i); region_refs[i]--
		:: else
		fi;
		forks--
	}
}

/* listener.c: let_through(), clone_again(); and the ordered thread with the host's clone(2). It may
 * fail, or take long, and be asked for once more. */
proctype thread(byte i)
{
	byte look, before;
	bool quiet, seen;

	(dead || ordered[i]);
	if
	:: dead -> goto over
	:: d_step { !dead -> expected[i] = true; clones++; cloning++; cloned++; in_call[i] = true }
	fi;
again:
	if
	:: d_step { !dead && made < CHILDREN -> made++; alive[made] = true; map[made] = PARENT; in_call[i] = false }
	:: in_call[i] = false
	fi;
	if
	:: dead -> goto over
	:: d_step { word[i] == WORD_NONE -> word[i] = WORD_MADE; cloning-- }
	:: d_step { word[i] == WORD_NONE -> word[i] = WORD_FAILED; cloning-- }
	/* asks for the same clone again */
	:: atomic { word[i] == WORD_NONE && expected[i] && !more ->
			/* the leader: no child shows itself meanwhile */
			look = STRAYS_SOME;
			strays_look(1, look) }
#ifdef BUG_AGAIN
		look = STRAYS_NONE;
#endif
		if
		:: look == STRAYS_NONE -> more = true; in_call[i] = true; goto again
		:: else -> dead = true
		fi
	:: word[i] != WORD_NONE
	fi;
over:
	in_call[i] = false
}

/* A child, from when the thread makes it: listener.c: first_call(), as.c: as_register(). */
proctype child(byte k)
{
	byte c;

end:	do
	:: freed && swept && !alive[k] -> break
	:: atomic { alive[k] && !known[k] && (expected[1] || expected[2]) ->
			if
			:: expected[1] -> c = 1
			:: expected[2] -> c = 2
			fi;
			expected[c] = false; clones--; known[k] = true; as_of[k] = c }
		/* let through; the host maps, or refuses */
		if
		:: map[k] = c
		:: true
		fi
	/* listener.c: doorbell(): its word is in its own region */
	:: d_step { alive[k] && known[k] && map[k] == as_of[k] && !proved[as_of[k]] -> as_proved(as_of[k]) }
#ifdef BUG_PROOF
	/* a kick before its first turn is taken for a word of its */
	:: d_step { alive[k] && known[k] && !proved[as_of[k]] -> as_proved(as_of[k]) }
#endif
	/* it ends, and reaper.c: end_of_as() frees its address space */
	:: d_step { alive[k] && known[k] && forks == 0 && freed -> alive[k] = false; as_proved(as_of[k]);
			region_refs[as_of[k]]-- }
	od
}

/* reaper.c: stub_exited(), as.c: as_free(), strays.c: sweeper_main(), kill_if_from() */
proctype reaper()
{
	/* It ends some time, by itself or killed; its calls are over before it is reaped. */
	dead = true;
	(forks == 0 && !in_call[1] && !in_call[2]);
	reaped = true;
	freed = true;
	if
	:: clones > 0 ->
		d_step {
			alive[1] = alive[1] && !HIDDEN(1);
			alive[2] = alive[2] && !HIDDEN(2);
			alive[3] = alive[3] && !HIDDEN(3)
		}
	:: else
	fi;
	region_refs[PARENT]--;
	swept = true;
	/* Nobody lives on that the sentry does not know. */
	assert(!HIDDEN(1) && !HIDDEN(2) && !HIDDEN(3))
}

/* Whoever gets a region next. */
proctype next_owner()
{
end:	if
	:: d_step { swept && region_refs[PARENT] == 0 -> FRESH(PARENT) }
	:: d_step { swept && forks == 0 && region_refs[1] == 0 -> FRESH(1) }
	:: d_step { swept && forks == 0 && region_refs[2] == 0 -> FRESH(2) }
	fi
}

init {
	atomic {
		region_refs[PARENT] = 1; map[1] = NONE; map[2] = NONE; map[3] = NONE;
		run fork(1); run fork(2); run thread(1); run thread(2); run child(1); run child(2); run child(3);
		run reaper(); run next_owner()
	}
}

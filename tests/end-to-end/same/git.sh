#!/bin/bash
# A repository's life.
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' GIT_CONFIG_NOSYSTEM=1
git init -q -b main repo && cd repo || exit 1
for i in $(seq 100); do mkdir -p "d$((i % 10))"; seq "$i" 300 >"d$((i % 10))/f$i"; done
git add . && git commit -q -m first && git log --oneline --stat | tail -3
sed -i s/100/one-hundred/ d1/f1; git status --short; git diff --stat; git commit -qam second; git log --format='%H %s'
git checkout -q -b side HEAD~; echo side >side; git add side; git commit -qm side; git checkout -q main; git merge -q -m merged side; git log --oneline --graph
git tag v1; git show --stat v1 | tail -3; git stash list; echo dirty >>side; git stash -q; git stash pop -q; git checkout -q side -- side; git clean -fdq
cd .. && git clone -q repo copy 2>&1; git clone -q --no-local repo copy2 2>&1; (cd copy && git log --oneline | wc -l && git status --short && git rev-parse HEAD)
cd repo && git gc -q && git fsck --full 2>&1; git count-objects | cut -d, -f1; git verify-pack .git/objects/pack/*.idx && echo pack; git grep -c one-hundred; git blame d1/f1 | md5sum; git archive HEAD | tar t | wc -l; git ls-files | md5sum; git rev-list --all --objects | wc -l

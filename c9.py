dbpath='mysql://mail:se%2Fcret%40@127.0.0.1:28511/seven'
modulelist={'User':'/work/main/modules/users.py'}

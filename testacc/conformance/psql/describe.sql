-- Every backslash command that queries.
\conninfo
\d
\d people
\d+ people
\d parts
\d+ happy
\d notes
\d+ counts
\d app.numbers
\d far_away
\da app.*
\dA
\dA+ btree
\dAc btree int*
\dAf btree int*
\dAo btree integer_ops
\dAp btree integer_ops
\db
\dc app.*
\dconfig work_mem
\dC app*
\dd
\dD app.*
\ddp
\dE
\di+ notes*
\dm
\ds app.*
\dt
\dv
\des+
\det
\deu
\dew
\df app.*
\df+ app.twice
\dF app.*
\dFd app.*
\dFp
\dFt
\dg
\dl
\dL
\dn+
\do app.*
\dO app.*
\dp
\dP
\dPi
\drds
\dRp+
\dRs
\dT app.*
\dT+ app.mood
\du
\dx
\dX
\dy
\l conform_template
\sf app.twice
\sf+ app.loud
\sv happy
\z people
\d nothing
\encoding
\echo :SERVER_VERSION_NUM :DBNAME :USER :ENCODING

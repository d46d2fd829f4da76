"""Short forms of given names, as groups that one person may go by."""

_GROUPS = (
    "william will bill billy willy willie liam", "robert rob bob bobby bert robbie", "richard rick dick rich ricky richie",
    "margaret maggie meg peggy greta daisy marge madge", "elizabeth liz beth betty lizzie eliza elsie betsy libby bess",
    "john jack johnny jon jonny", "james jim jimmy jamie jas", "charles charlie chuck chas charley", "henry harry hal hank",
    "edward ted ned ed eddie teddy eddy", "thomas tom tommy thos", "george geo georgie", "mary molly polly may mamie",
    "katherine kate katie kathy kitty kay catherine cathy kathryn katharine", "alexander alex sandy alec alick",
    "anthony tony antony", "joseph joe joey jos", "michael mike mick mikey", "andrew andy drew", "francis frank frankie",
    "frederick fred freddie freddy", "albert bert al bertie", "arthur art", "samuel sam sammy", "sarah sally sadie sara",
    "ann annie nancy anne anna", "helen nell ellie nellie ellen eleanor", "susan sue suzie susie", "david dave davy davie",
    "daniel dan danny", "benjamin ben benny benji", "herbert bert herb bertie", "walter walt wat", "ernest ernie",
    "percy perceval percival", "reginald reg reggie", "nicholas nick nicky nicolas", "matthew matt", "christopher chris kit",
    "stephen steve steven", "jonathan jon", "gregory greg", "gerald gerry jerry", "jeremiah jerry", "lawrence larry laurence",
    "leonard len lenny leo", "patrick pat paddy", "peter pete", "philip phil phillip", "raymond ray", "ronald ron ronnie",
    "kenneth ken kenny", "donald don donny", "douglas doug", "timothy tim", "theodore ted theo", "vincent vince",
    "victoria vicky vicki", "rebecca becky becca", "deborah debbie deb debra", "barbara barb babs", "dorothy dot dolly dora",
    "florence flo florrie", "jennifer jen jenny", "jessica jess jessie", "jacqueline jackie", "judith judy", "patricia pat patty tricia trish",
    "pamela pam", "penelope penny", "abigail abby gail", "alice ally", "amelia amy millie", "charlotte lottie", "emily em emmy",
    "frances fanny fran", "harriet hattie", "isabella bella isabel isobel", "joanna jo joanne", "josephine jo josie", "lucy lucie",
    "martha patty", "matilda tilly", "olivia liv livvy", "rosemary rose rosie", "sophia sophie", "teresa terry tess theresa",
    "winifred winnie", "zachary zach zack", "joshua josh", "jacob jake", "nathaniel nat nathan", "oliver ollie", "edmund ed ned",
    "edwin ed", "alfred alf fred alfie", "archibald archie", "bernard bernie", "clifford cliff", "geoffrey geoff jeff jeffrey",
    "harold harry hal", "hugh hughie", "leslie les", "lewis lew louis", "sidney sid sydney", "stanley stan", "terence terry",
)  # fmt: skip

GROUPS: dict[str, frozenset[int]] = {}
for _number, _group in enumerate(_GROUPS):
    for _word in _group.split():
        GROUPS[_word] = GROUPS.get(_word, frozenset()) | {_number}

ROOTS: dict[str, str] = {}
for _group in _GROUPS:
    for _word in _group.split():
        ROOTS.setdefault(_word, _group.split()[0])


def root(word: str) -> str:
    """The name that a short form most often stands for; other words stand for themselves."""
    return ROOTS.get(word, word)


def same(left: str, right: str) -> bool:
    """Whether two words may be forms of one given name."""
    return bool(GROUPS.get(left, frozenset()) & GROUPS.get(right, frozenset()))

"""Words that simulated people, places and articles are made of."""

GIVEN = (
    "Oliver George Arthur Noah Muhammad Leo Oscar Harry Archie Henry Theodore Freddie Jack Charlie Theo Alfie Jacob Thomas "
    "Finley Arlo William Lucas Roman Tommy Isaac Teddy Alexander Luca Edward James Joshua Albie Elijah Max Mohammed Reuben "
    "Mason Sebastian Rory Jude Olivia Amelia Isla Ava Ivy Freya Lily Florence Mia Willow Rosie Sophia Isabella Grace Daisy "
    "Sienna Poppy Elsie Emily Ella Evelyn Phoebe Evie Charlotte Harper Millie Matilda Maya Sophie Alice Emma Penelope "
    "Selina Hester Dorothy Malcolm Frederick Gavin Beatrice Winifred Percy Reginald Margaret Susan Patricia Deborah Colin"
).split()
FAMILY = (
    "Smith Jones Taylor Brown Williams Wilson Johnson Davies Patel Robinson Wright Thompson Evans Walker White Roberts Green "
    "Hall Wood Jackson Clarke Clark Harrison Scott Cooper Morris King Baker Harris Ward Turner Hill Moore Cook Parker Bell "
    "Bennett Young Shaw Mitchell Bailey Carter Kelly Richardson Marshall Cox Collins Murphy Simpson Begum Khan Ellis Adams "
    "Foster Wilkinson Graham Chapman Mills Webb Rogers Gibson Hunt Palmer Holmes Campbell Powell Matthews Owen Barnes Lloyd "
    "Knight Butler Stevens Russell Barker Fisher Jenkins Dixon Murray Harvey Pearson Fletcher Siborne Lillywhite Muirhead "
    "Dalgliesh Colbeck Moneypenny Arnott Derwent Wyatt Carew Goodman Dolby Stafford Brabazon Menzies Aitken Spielmann Gillow"
).split()
CHINESE_FAMILY = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕欧阳"[:-2]
CHINESE_GIVEN = "伟芳娜秀敏静丽强磊军洋勇艳杰涛明超霞平刚桂英华文宇浩欣怡思雨梓涵子轩雪梅玉兰国建新志红云龙飞"
CHINESE_CITIES = (("成都", "610000"), ("上海", "200000"), ("北京", "100000"), ("广州", "510000"), ("杭州", "310000"))
ENGLISH_CITIES = (("east suffolk", "ip"), ("rutland", "le"), ("powys", "ld"), ("leeds", "ls"), ("bristol", "bs"), ("york", "yo"))
MAIL = ("gmail.com", "outlook.com", "yahoo.co.uk", "hotmail.com", "btinternet.com", "icloud.com")
CHINESE_MAIL = ("qq.com", "163.com", "sina.com")
COLOURS = "RED BLUE GREEN PINK IVORY VINTAGE RETROSPOT PAISLEY GINGHAM SILVER".split()
THINGS = "MUG LUNCH BAG|CAKE STAND|LANTERN|DOORMAT|PARASOL|TEA TOWEL|PHOTO FRAME|HAND WARMER|JEWELLERY BOX|GARDEN KIT".split("|")
PAGES = ("Home", "Gifts", "Sale", "Basket", "Help")
SUBJECTS = ("Where is my order", "Return and refund", "Item arrived damaged", "Points missing from my balance")
CHINESE_SUBJECTS = ("我的订单在哪里", "退货退款", "收到的商品有破损", "积分没有到账")
COMPLAINTS = ("Waited three weeks and nobody answered. Very disappointed.", "Sorted quickly by a very patient agent, thank you.")
CHINESE_COMPLAINTS = ("等了三个星期还没有人回复,非常失望。", "客服很有耐心,很快就解决了,谢谢。")

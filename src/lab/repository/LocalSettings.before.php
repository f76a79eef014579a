$wgDBservers = [ [
	'host' => $wgDBserver,
	'dbname' => $wgDBname,
	'user' => $wgDBuser,
	'password' => $wgDBpassword,
	'type' => 'mysql',
	'flags' => DBO_DEFAULT | DBO_PERSISTENT,
	'load' => 1,
] ];
$wgMainCacheType = CACHE_NONE;
# $wgJobRunRate = 0;
# $wgDisableSearchUpdate = true;
# $wgEnableUploads = false;
